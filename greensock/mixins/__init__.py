"""The mixins, each of which says where a turn runs, and the ready-made combinations."""
