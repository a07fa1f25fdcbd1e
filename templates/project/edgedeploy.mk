# Release rules for make. In your Makefile:
#
#     include edgedeploy.mk
#
#     make release-pixel8         export what changed, push it to every Pixel 8 there is, measure, judge
#     make release-dry-pixel8     say what that would do; touch nothing
#
# EDGEDEPLOY_FLAGS reaches the command: make release-pixel8 EDGEDEPLOY_FLAGS='--model tinynet --no-measure'
# make ends with an error when a gate fails; edgedeploy's own exit code is in make's message ("Error 1").

EDGEDEPLOY ?= edgedeploy
EDGEDEPLOY_PROJECT ?= $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
EDGEDEPLOY_FLAGS ?=
# The place of this file, taken while it is being read: later includes would change MAKEFILE_LIST.
EDGEDEPLOY_PROJECT := $(EDGEDEPLOY_PROJECT)

# Older makes take the first rule that matches: release-dry-% has to stand before release-%.
release-dry-%: .edgedeploy-always
	$(EDGEDEPLOY) push --project '$(EDGEDEPLOY_PROJECT)' --target '$*' --dry-run $(EDGEDEPLOY_FLAGS)

release-%: .edgedeploy-always
	$(EDGEDEPLOY) push --project '$(EDGEDEPLOY_PROJECT)' --target '$*' $(EDGEDEPLOY_FLAGS)

# Pattern rules cannot be .PHONY; one that needs this target runs every time, even beside a file of its name.
.PHONY: .edgedeploy-always
.edgedeploy-always:
