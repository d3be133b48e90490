"""Reading SVG: safe parsing, paint order, rendering."""
