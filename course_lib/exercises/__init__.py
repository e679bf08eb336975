"""A module a chapter: its questions to predict first, so that their answers do not stand in the notebook's code."""
