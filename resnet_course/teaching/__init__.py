"""What only teaches: figures, widgets, a look inside a network."""
