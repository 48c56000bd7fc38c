"""What is kept of an answer: after the words, never before them."""
