"""What everything stands on: records, dialogues, prompt formats, masks, images and batches."""
