"""One evaluation of a checkpoint: answers to all sources, stored, scored by every protocol and told on a page."""
