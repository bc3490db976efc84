"""Turns any source of pictures into `Splits` of `ImageSet`."""
