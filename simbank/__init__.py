"""A bank to run Landbridge against: own books, own process, faults on demand.

It shares no code with the other packages, so that a mistake there cannot be repeated here.
"""
