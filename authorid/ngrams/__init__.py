"""The n-gram model: features of texts, their tf-idf vectors, and a linear layer that scores authors."""
