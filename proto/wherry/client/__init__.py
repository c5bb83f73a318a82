"""What every process shares to talk to the API server: requests, informers, queues, election."""
