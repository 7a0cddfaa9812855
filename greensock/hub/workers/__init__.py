"""What handlers run in beside the hub: pooled greenlets, forked children."""
