"""`digits zoo`: train all models and compare them."""
