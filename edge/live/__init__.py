"""The last minutes of every stream, kept in memory for whoever watches: the dashboard and the terminal view.

Nothing here exists unless one of them was asked for; the pipeline's part is one call a block and one a verdict.
"""
