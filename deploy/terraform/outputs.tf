output "urls" {
  description = "Function to URL; also the audience of its callers' tokens."
  value       = { for name, service in google_cloud_run_v2_service.function : name => service.uri }
}

output "buckets" {
  description = "Where data is dropped, versions are pushed, and predictions are logged."
  value       = { for name, bucket in google_storage_bucket.this : name => bucket.name }
}

output "topics" {
  description = "For `automation.topics`, and for whoever reads dead letters."
  value       = { for name, topic in google_pubsub_topic.this : name => topic.id }
}

output "callers" {
  description = "For `automation.auth.accounts`."
  value       = [for account in google_service_account.caller : account.email]
}
