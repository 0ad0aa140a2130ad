//! zonescope-collector-redis: keeps the live state and recent past of every zone in Redis.
