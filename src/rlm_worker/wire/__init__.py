"""Every JSON that crosses to callers, as models: requests, results, events, batches."""
