"""``trainer report``: bundles side by side, as one page, pictures and one JSON file that holds every number.

``document`` makes the JSON's content (``stored`` rows, ``detector``, ``examples``), ``charts`` and ``strip`` draw it,
``page`` writes it down. Page and pictures know nothing that the JSON does not hold.
"""
