"""Data model and helpers that all other packages import: records, masks, dialogues, prompt formats, batches."""
