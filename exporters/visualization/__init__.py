"""Images and reports for people."""
