"""Rules about the recipes of Tenure on this store, one module per kind of recipe."""

SYNC_ALONE = "these rules use recipes by the synchronous interface; the asyncio one drives the same steps"
