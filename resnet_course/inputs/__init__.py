"""From stored pictures to what a network takes: augmented, scaled, normalised, in batches."""
