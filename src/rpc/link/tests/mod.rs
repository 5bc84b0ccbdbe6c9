mod backoff;
