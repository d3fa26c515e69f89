"""Every JSON that crosses, as a model: requests, results, events, batches."""
