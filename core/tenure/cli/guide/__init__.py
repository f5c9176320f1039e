"""The pages that come with the wheel, for those who have no checkout: authors of stores, and operators."""
