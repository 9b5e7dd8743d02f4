"""Somebody's own classifier becomes a bundle: an encode-decode in front, trained on unlabelled windows.

``spec`` says what a window is, ``windows`` reads them, ``keras_model`` and ``tflite_graph`` take the classifier,
``front`` trains what goes before it, ``wrap`` packs. The classifier's own weights never change.
"""
