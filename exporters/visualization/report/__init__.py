"""The page ``report.html`` at the end of a run: one file that loads nothing, with what was run, curves and results."""
