"""Marks in the media itself: what a publisher stamps into picture and sound, a subscriber reads back."""
