"""Reading and writing files, checked and atomic."""
