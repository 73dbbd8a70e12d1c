"""Character n-grams, tf-idf and a linear SVM with scikit-learn."""
