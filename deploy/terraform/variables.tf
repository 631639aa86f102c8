variable "project" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of functions, buckets and the scheduler."
  type        = string
  default     = "europe-west1"
}

variable "name" {
  description = "Prefix of everything that is made; the config's `name` where there are several."
  type        = string
  default     = "flywheel"

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{1,20}$", var.name))
    error_message = "Lower-case letters, digits and dashes, 2 to 21 of them."
  }
}

variable "images" {
  description = "Function to container image, by digest: built from `flywheel functions build NAME`."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["predict", "on_new_data", "check_drift", "on_alert", "on_run_finished"], keys(var.images))) == 0
    error_message = "An image is needed for predict, on_new_data, check_drift, on_alert and on_run_finished."
  }
}

variable "callers" {
  description = "Who may ask the predict function: `serviceAccount:…`, `group:…`."
  type        = list(string)
  default     = []
}

variable "schedule" {
  description = "When the log is looked at, as cron in UTC."
  type        = string
  default     = "17 * * * *"
}

variable "secrets" {
  description = "Function to environment variable to name of a secret in Secret Manager, which must exist: addresses and keys of channels, FLYWHEEL_STORE for check_drift."
  type        = map(map(string))
  default     = {}
}

variable "attempts" {
  description = "Deliveries of a message until it goes to the dead-letter topic."
  type        = number
  default     = 20

  validation {
    condition     = var.attempts >= 5 && var.attempts <= 100
    error_message = "Pub/Sub takes 5 to 100."
  }
}

variable "log_days" {
  description = "Days after which predictions are deleted from the bucket of the log."
  type        = number
  default     = 400
}
