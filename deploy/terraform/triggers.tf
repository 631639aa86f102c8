# What starts the functions, and who may.

resource "google_pubsub_topic" "this" {
  for_each                   = local.topics
  name                       = "${var.name}-${each.key}"
  message_retention_duration = "604800s"
}

resource "google_pubsub_topic_iam_member" "check_drift" {
  topic  = google_pubsub_topic.this["alerts"].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.function["check_drift"].member
}

resource "google_pubsub_subscription" "push" {
  for_each                   = local.pushed
  name                       = "${var.name}-${local.dashed[each.value]}"
  topic                      = google_pubsub_topic.this[each.key].id
  ack_deadline_seconds       = 300
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = "" # never
  }

  push_config {
    push_endpoint = google_cloud_run_v2_service.function[each.value].uri

    oidc_token {
      service_account_email = google_service_account.caller["push"].email
      audience              = google_cloud_run_v2_service.function[each.value].uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.this["dead"].id
    max_delivery_attempts = var.attempts
  }
}

# Dead letters are kept until someone has looked.
resource "google_pubsub_subscription" "dead" {
  name                       = "${var.name}-dead"
  topic                      = google_pubsub_topic.this["dead"].id
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself moves messages to the dead-letter topic.
resource "google_pubsub_topic_iam_member" "dead" {
  topic  = google_pubsub_topic.this["dead"].id
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_subscription_iam_member" "dead" {
  for_each     = google_pubsub_subscription.push
  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

# Finished objects reach Eventarc by way of Pub/Sub.
resource "google_project_iam_member" "storage" {
  project = var.project
  role    = "roles/pubsub.publisher"
  member  = data.google_storage_project_service_account.this.member
}

resource "google_project_iam_member" "events" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.caller["events"].member
}

resource "google_eventarc_trigger" "data" {
  name            = "${var.name}-data"
  location        = var.region
  service_account = google_service_account.caller["events"].email

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.storage.object.v1.finalized"
  }

  matching_criteria {
    attribute = "bucket"
    value     = google_storage_bucket.this["data"].name
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.function["on_new_data"].name
      region  = var.region
    }
  }

  depends_on = [google_project_iam_member.storage, google_project_iam_member.events]
}

resource "google_cloud_scheduler_job" "check" {
  name             = "${var.name}-check-drift"
  schedule         = var.schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "600s"

  retry_config {
    retry_count = 3
  }

  http_target {
    http_method = "POST"
    uri         = google_cloud_run_v2_service.function["check_drift"].uri
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode("{}")

    oidc_token {
      service_account_email = google_service_account.caller["scheduler"].email
      audience              = google_cloud_run_v2_service.function["check_drift"].uri
    }
  }
}

locals {
  invokers = merge(
    {
      on_alert        = { function = "on_alert", member = google_service_account.caller["push"].member }
      on_run_finished = { function = "on_run_finished", member = google_service_account.caller["push"].member }
      check_drift     = { function = "check_drift", member = google_service_account.caller["scheduler"].member }
      on_new_data     = { function = "on_new_data", member = google_service_account.caller["events"].member }
    },
    { for caller in var.callers : "predict/${caller}" => { function = "predict", member = caller } }
  )
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.invokers
  name     = google_cloud_run_v2_service.function[each.value.function].name
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value.member
}
