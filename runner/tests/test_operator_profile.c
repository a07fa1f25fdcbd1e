#include <string.h>

#include "check.h"
#include "operator_profile.h"

static operator_profile profile = {.invocations = 2};
static failure why;

static bool add(int32_t call, int32_t step, const char *name, const char *delegate, int64_t ns) {
  const operator_place place = {.sequence = 0, .call = call, .step = step};
  return operator_profile_add(&profile, place, name, delegate, ns, &why);
}

int main(void) {
  /* The second invocation comes in another order, and one operator runs twice in it. */
  CHECK(add(0, WHOLE_CALL, "conv", NULL, 10) && add(1, WHOLE_CALL, "call", "x", 30));
  CHECK(add(1, 0, "first", "x", 20) && add(1, 1, "second", "x", 5));
  profile.invocation = 1;
  CHECK(add(1, 0, "first", "x", 21) && add(0, WHOLE_CALL, "conv", NULL, 11) && add(0, WHOLE_CALL, "conv", NULL, 1));
  CHECK(profile.count == 4);
  CHECK(strcmp(profile.operators[0].name, "conv") == 0 && profile.operators[0].delegate == NULL);
  CHECK(profile.operators[0].ns[0] == 10 && profile.operators[0].ns[1] == 12);
  CHECK(strcmp(profile.operators[2].name, "first") == 0 && strcmp(profile.operators[2].delegate, "x") == 0);
  CHECK(profile.operators[2].ns[0] == 20 && profile.operators[2].ns[1] == 21);
  CHECK(profile.operators[3].ns[0] == 5 && profile.operators[3].ns[1] == 0);
  for (int32_t call = 2; call < 1000; ++call) CHECK(add(call, WHOLE_CALL, "more", NULL, call));
  CHECK(profile.count == 1002 && profile.operators[1001].ns[1] == 999);
  return failed_checks != 0;
}
