# Everything the functions need: one service account each, with what it needs and no more.

locals {
  functions = toset(["predict", "on_new_data", "check_drift", "on_alert", "on_run_finished"])
  dashed    = { for function in local.functions : function => replace(function, "_", "-") }
  topics    = toset(["alerts", "runs", "dead"])
  buckets   = toset(["data", "models", "log"])
  pushed    = { alerts = "on_alert", runs = "on_run_finished" }
  ledger    = "firestore://${var.project}/${var.name}/ledger"

  # Folders that a function sees: bucket to whether it only reads.
  mounts = {
    predict         = { models = true, log = false }
    on_new_data     = {}
    check_drift     = { models = false, log = true }
    on_alert        = {}
    on_run_finished = {}
  }

  # Buckets that a function reaches, mounted or not.
  grants = merge(
    { "on_new_data/data" = { function = "on_new_data", bucket = "data", role = "roles/storage.objectViewer" } },
    merge([
      for function, mounts in local.mounts : {
        for bucket, readonly in mounts : "${function}/${bucket}" => {
          function = function
          bucket   = bucket
          role     = readonly ? "roles/storage.objectViewer" : "roles/storage.objectUser"
        }
      }
    ]...)
  )

  secrets = merge([
    for function, secrets in var.secrets : {
      for variable, secret in secrets : "${function}/${variable}" => { function = function, secret = secret }
    }
  ]...)
}

data "google_project" "this" {}

data "google_storage_project_service_account" "this" {}

resource "google_service_account" "function" {
  for_each     = local.functions
  account_id   = "${var.name}-${local.dashed[each.key]}"
  display_name = "Flywheel: ${each.key}"
}

resource "google_service_account" "caller" {
  for_each     = toset(["push", "scheduler", "events"])
  account_id   = "${var.name}-${each.key}"
  display_name = "Flywheel: calls functions (${each.key})"
}

resource "google_storage_bucket" "this" {
  for_each                    = local.buckets
  name                        = "${var.project}-${var.name}-${each.key}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  dynamic "versioning" {
    for_each = each.key == "models" ? [true] : []
    content {
      enabled = true
    }
  }

  dynamic "lifecycle_rule" {
    for_each = each.key == "log" ? [var.log_days] : []
    content {
      condition {
        age = lifecycle_rule.value
      }
      action {
        type = "Delete"
      }
    }
  }
}

resource "google_storage_bucket_iam_member" "function" {
  for_each = local.grants
  bucket   = google_storage_bucket.this[each.value.bucket].name
  role     = each.value.role
  member   = google_service_account.function[each.value.function].member
}

resource "google_firestore_database" "ledger" {
  name        = var.name
  location_id = var.region
  type        = "FIRESTORE_NATIVE"
}

resource "google_firestore_field" "expires" {
  database   = google_firestore_database.ledger.name
  collection = "ledger"
  field      = "expires"

  ttl_config {}
}

resource "google_project_iam_member" "ledger" {
  for_each = setsubtract(local.functions, ["predict"])
  project  = var.project
  role     = "roles/datastore.user"
  member   = google_service_account.function[each.key].member

  condition {
    title      = "ledger"
    expression = "resource.name == \"projects/${var.project}/databases/${google_firestore_database.ledger.name}\""
  }
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each  = local.secrets
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function[each.value.function].member
}

resource "google_cloud_run_v2_service" "function" {
  for_each            = local.functions
  name                = "${var.name}-${local.dashed[each.key]}"
  location            = var.region
  deletion_protection = false
  ingress             = each.key == "predict" ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"

  template {
    service_account                  = google_service_account.function[each.key].email
    timeout                          = each.key == "check_drift" ? "540s" : "300s"
    max_instance_request_concurrency = each.key == "predict" ? 16 : 8

    scaling {
      max_instance_count = each.key == "check_drift" ? 1 : 20
    }

    containers {
      image = var.images[each.key]

      resources {
        limits            = { cpu = "1", memory = each.key == "check_drift" ? "1Gi" : "512Mi" }
        cpu_idle          = each.key != "predict" # the log is written between requests
        startup_cpu_boost = true
      }

      startup_probe {
        tcp_socket {
          port = 8080
        }
      }

      env {
        name  = "FLYWHEEL_LEDGER"
        value = local.ledger
      }

      dynamic "env" {
        for_each = local.mounts[each.key]
        content {
          name  = env.key == "models" ? "FLYWHEEL_DEPLOYED" : "FLYWHEEL_LOG"
          value = "/mnt/${env.key}"
        }
      }

      dynamic "env" {
        for_each = lookup(var.secrets, each.key, {})
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      dynamic "volume_mounts" {
        for_each = local.mounts[each.key]
        content {
          name       = volume_mounts.key
          mount_path = "/mnt/${volume_mounts.key}"
        }
      }
    }

    dynamic "volumes" {
      for_each = local.mounts[each.key]
      content {
        name = volumes.key
        gcs {
          bucket    = google_storage_bucket.this[volumes.key].name
          read_only = volumes.value
        }
      }
    }
  }

  depends_on = [google_storage_bucket_iam_member.function, google_secret_manager_secret_iam_member.function]
}
