"""The two endpoints, each as one stream of Events."""
