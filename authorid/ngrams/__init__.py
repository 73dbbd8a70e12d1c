"""The n-gram model: features of a text, their vectorizer, the linear model."""
