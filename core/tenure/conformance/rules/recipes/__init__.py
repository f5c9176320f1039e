"""Rules about the recipes of Tenure on this store, one module per kind of recipe."""
