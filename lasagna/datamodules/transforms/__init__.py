"""Changes to records before dialogues are made of them: crops, flips, colours, and those of other libraries."""
