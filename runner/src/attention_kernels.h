// The two operators of ExecuTorch's language model library that our exports call, and that the SDK's C++ libraries lack.
#pragma once

namespace edgedeploy {

// Registers llama::update_cache and llama::custom_sdpa where no linked library has done so; before a program is loaded.
// Returns false when the runtime refuses.
bool register_attention_kernels();

}  // namespace edgedeploy
