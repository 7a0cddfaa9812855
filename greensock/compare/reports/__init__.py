"""What people look at: progress, the table, the page, its pictures."""
