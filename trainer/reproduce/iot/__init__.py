"""Paper 1 as one target: the encode-decode and thermometer defence on series of the UCR archive, and past it."""
