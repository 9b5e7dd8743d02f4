"""The page that shows what the agent sees (extra ``dashboard``): one process, one thread, nothing to build.

The pipeline writes into ``edge.live.store`` and knows nothing of browsers; everything here reads that store at a
pace of its own. Starlette and uvicorn are imported only when ``dashboard.listen`` is set.
"""
