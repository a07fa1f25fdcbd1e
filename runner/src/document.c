#define _GNU_SOURCE
#include "document.h"

#include "language.h"
#include "process_facts.h"

#define SCHEMA "edgedeploy.runner/1"

static void describe_runner(json_text *text, const runner_engine *engine) {
  json_raw(text, "{\"schema\": \"" SCHEMA "\", \"runner\": {\"name\": ");
  json_string(text, engine->runner_name);
  json_raw(text, ", \"version\": \"" EDGEDEPLOY_RUNNER_VERSION "\", \"engine\": ");
  json_string(text, engine->engine_name);
  json_raw(text, ", \"engine_version\": ");
  json_string(text, engine->engine_version);
  json_raw(text, "}");
}

void document_of_version(json_text *text, const runner_engine *engine) {
  describe_runner(text, engine);
  json_raw(text, "}\n");
}

void document_of_failure(json_text *text, const char *stage, const failure *why) {
  json_raw(text, "{\"schema\": \"" SCHEMA "\", \"error\": {\"stage\": ");
  json_string(text, stage);
  json_raw(text, ", \"message\": ");
  json_string(text, why->message);
  json_raw(text, "}}\n");
}

static void describe_profile(json_text *text, const session *run) {
  json_raw(text, ", \"profiled_ns\": ");
  json_integers(text, run->profiled_ns.ns, run->profiled_ns.count);
  json_raw(text, ", \"operators\": [");
  for (size_t i = 0; i < run->profile.count; ++i) {
    const profiled_operator *row = &run->profile.operators[i];
    json_raw(text, i > 0 ? ", {\"name\": " : "{\"name\": ");
    json_string(text, row->name);
    json_raw(text, ", \"delegate\": ");
    if (row->delegate == NULL) {
      json_raw(text, "null");
    } else {
      json_string(text, row->delegate);
    }
    json_member(text, "sequence", row->place.sequence);
    json_member(text, "call", row->place.call);
    if (row->place.step != WHOLE_CALL) json_member(text, "step", row->place.step);
    json_raw(text, ", \"ns\": ");
    json_integers(text, row->ns, run->profile.invocation);
    json_raw(text, "}");
  }
  json_raw(text, "]");
}

/* Turns, or bursts. */
static void describe_turns(json_text *text, const session *run) {
  json_raw(text, run->arguments.turns != NULL ? ", \"turns\": [" : ", \"bursts\": [");
  for (size_t i = 0; i < run->turn_count; ++i) {
    json_raw(text, i > 0 ? ", {\"began_ns\": " : "{\"began_ns\": ");
    json_integer(text, run->turns[i].began_ns);
    json_member(text, "iterations", (int64_t)run->turns[i].iterations);
    json_raw(text, "}");
  }
  json_raw(text, "]");
}

static void describe_windows(json_text *text, const session *run) {
  json_member(text, "timed_ns", run->timed_ns);
  if (run->suspended_ns >= 0) json_member(text, "suspended_ns", run->suspended_ns);
  json_raw(text, ", \"windows\": [");
  for (size_t i = 0; i < run->window_count; ++i) {
    json_raw(text, i > 0 ? ", {\"began_ns\": " : "{\"began_ns\": ");
    json_integer(text, run->windows[i].began_ns);
    json_member(text, "iterations", (int64_t)run->windows[i].iterations);
    json_member(text, "kept", (int64_t)run->windows[i].kept);
    json_raw(text, "}");
  }
  json_raw(text, "]");
}

static void describe_steadiness(json_text *text, const session *run) {
  json_member(text, "warmup_iterations", (int64_t)run->warmup_iterations);
  json_raw(text, ", \"steady\": ");
  if (!run->steady.reached) {
    json_raw(text, "null");
    return;
  }
  json_raw(text, "{\"since\": ");
  json_integer(text, (int64_t)run->steady.since);
  json_member(text, "known", (int64_t)run->steady.known);
  json_raw(text, "}");
}

void document_of_run(json_text *text, const session *run) {
  int64_t cpus[MAX_CPUS];
  const size_t cpu_count = cpus_in_force(cpus, MAX_CPUS);
  describe_runner(text, run->engine);
  json_raw(text, ", \"model\": {\"sha256\": ");
  json_string(text, run->model.sha256);
  json_member(text, "size_bytes", run->model.size_bytes);
  json_raw(text, "}");
  json_member(text, "threads", run->engine->threads());
  json_raw(text, ", \"cpus\": ");
  json_integers(text, cpus, cpu_count);
  json_raw(text, ", \"clock\": {\"name\": \"CLOCK_MONOTONIC\"");
  json_member(text, "resolution_ns", monotonic_resolution_ns());
  json_raw(text, "}");
  json_member(text, "load_ns", run->load_ns);
  if (run->cached_bytes_before_load >= 0) json_member(text, "cached_bytes_before_load", run->cached_bytes_before_load);
  json_member(text, "rss_before_load_bytes", run->rss_before_load_bytes);
  json_member(text, "peak_rss_bytes", peak_resident_bytes());
  if (run->pss_bytes >= 0) json_member(text, "pss_bytes", run->pss_bytes);
  if (run->latency_ns.count > 0 || run->answer_count > 0) {
    json_member(text, "cpu_ns", run->timed_usage.cpu_ns);
    json_member(text, "involuntary_switches", run->timed_usage.involuntary_switches);
  }
  if (run->arguments.turns != NULL || run->arguments.bursts > 0) describe_turns(text, run);
  if (run->window_count > 0) describe_windows(text, run);
  if (is_language(run)) {
    language_describe(run, text);
    json_raw(text, "}\n");
    return;
  }
  json_member(text, "first_inference_ns", run->first_inference_ns);
  json_raw(text, ", \"warmup_ns\": ");
  json_integers(text, run->warmup_ns.ns, run->warmup_ns.count);
  if (run->arguments.warmup_seconds > 0 && run->warmup_iterations > 0) describe_steadiness(text, run);
  json_raw(text, ", \"latency_ns\": ");
  json_integers(text, run->latency_ns.ns, run->latency_ns.count);
  if (run->arguments.profile > 0) describe_profile(text, run);
  json_member(text, "cases", (int64_t)run->inputs.cases);
  json_raw(text, ", \"outputs\": ");
  outputs_describe(&run->outputs, text);
  json_raw(text, "}\n");
}
