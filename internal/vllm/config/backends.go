package config

import "strings"

// backendName returns the name by which --attention-backend knows a backend; s is that name,
// or the path of the backend's class, as in the JSON form of a configuration. It returns ""
// for an unknown class, because a path compared with a flag's name would look like a
// difference.
func backendName(s string) string {
	if s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" {
		return s
	}
	for _, b := range backends {
		if b[0] == s {
			return b[1]
		}
	}
	return ""
}

// backends are the values and names of the members of AttentionBackendEnum
// (vllm/v1/attention/backends/registry.py of 0.32.0).
var backends = [...][2]string{
	{"vllm.v1.attention.backends.flash_attn.FlashAttentionBackend", "FLASH_ATTN"},
	{"vllm.v1.attention.backends.flash_attn_diffkv.FlashAttentionDiffKVBackend", "FLASH_ATTN_DIFFKV"},
	{"vllm.v1.attention.backends.triton_attn.TritonAttentionBackend", "TRITON_ATTN"},
	{"vllm.v1.attention.backends.triton_attn_diffkv.TritonAttentionDiffKVBackend", "TRITON_ATTN_DIFFKV"},
	{"vllm.v1.attention.backends.triton_flash_attn.TritonFlashAttentionBackend", "TRITON_FLASH_ATTN"},
	{"vllm.v1.attention.backends.rocm_attn.RocmAttentionBackend", "ROCM_ATTN"},
	{"vllm.v1.attention.backends.rocm_segmented_attn.RocmSegmentedAttentionBackend", "ROCM_SEGMENTED_ATTN"},
	{"vllm.v1.attention.backends.mla.rocm_aiter_mla.AiterMLABackend", "ROCM_AITER_MLA"},
	{"vllm.v1.attention.backends.mla.aiter_triton_mla.AiterTritonMLABackend", "ROCM_AITER_TRITON_MLA"},
	{"vllm.v1.attention.backends.rocm_aiter_fa.AiterFlashAttentionBackend", "ROCM_AITER_FA"},
	{"vllm.v1.attention.backends.mla.rocm_aiter_mla_sparse.ROCMAiterMLASparseBackend", "ROCM_AITER_MLA_SPARSE"},
	{"vllm.v1.attention.backends.mla.xpu_mla_sparse.XPUMLASparseBackend", "XPU_MLA_SPARSE"},
	{"vllm.v1.attention.backends.flashinfer.FlashInferBackend", "FLASHINFER"},
	{"vllm.v1.attention.backends.triton_flashinfer.TritonFlashInferBackend", "TRITON_FLASHINFER"},
	{"vllm.v1.attention.backends.mla.flashinfer_mla.FlashInferMLABackend", "FLASHINFER_MLA"},
	{"vllm.v1.attention.backends.mla.tokenspeed_mla.TokenspeedMLABackend", "TOKENSPEED_MLA"},
	{"vllm.v1.attention.backends.mla.flashinfer_mla_sparse.FlashInferMLASparseTRTLLMBackend", "FLASHINFER_MLA_SPARSE"},
	{"vllm.v1.attention.backends.mla.flashinfer_mla_sparse.FlashInferMLASparseSM120Backend", "FLASHINFER_MLA_SPARSE_SM120"},
	{"vllm.v1.attention.backends.mla.flashinfer_mla_sparse_sm90.FlashInferMLASparseSM90Backend", "FLASHINFER_MLA_SPARSE_SM90"},
	{"vllm.v1.attention.backends.mla.triton_mla.TritonMLABackend", "TRITON_MLA"},
	{"vllm.v1.attention.backends.mla.cutlass_mla.CutlassMLABackend", "CUTLASS_MLA"},
	{"vllm.v1.attention.backends.mla.flashmla.FlashMLABackend", "FLASHMLA"},
	{"vllm.v1.attention.backends.mla.flashmla_sparse.FlashMLASparseBackend", "FLASHMLA_SPARSE"},
	{"vllm.models.deepseek_v4.sparse_mla.DeepseekV4FlashMLABackend", "FLASHMLA_SPARSE_DSV4"},
	{"vllm.models.deepseek_v4.nvidia.flashinfer_sparse.DeepseekV4FlashInferMLASparseBackend", "FLASHINFER_MLA_SPARSE_DSV4"},
	{"vllm.models.deepseek_v4.amd.rocm.DeepseekV4ROCMAiterMLASparseBackend", "ROCM_FLASHMLA_SPARSE_DSV4"},
	{"vllm.models.deepseek_v41.sparse_mla.DeepseekV4FlashMLABackend", "FLASHMLA_SPARSE_DSV41"},
	{"vllm.models.deepseek_v41.nvidia.flashinfer_sparse.DeepseekV4FlashInferMLASparseBackend", "FLASHINFER_MLA_SPARSE_DSV41"},
	{"vllm.models.deepseek_v41.sparse_mla.FlashMLAMegaAttnBackend", "FLASHMLA_MEGA_ATTN_DSV41"},
	{"vllm.v1.attention.backends.b12x.B12xPagedAttentionBackend", "B12X"},
	{"vllm.v1.attention.backends.mla.flashattn_mla.FlashAttnMLABackend", "FLASH_ATTN_MLA"},
	{"vllm.v1.attention.backends.mla.flashattn_mla_sparse.FlashAttnMLASparseBackend", "FLASH_ATTN_MLA_SPARSE"},
	{"vllm.models.minimax_m3.common.sparse_attention.MiniMaxM3SparseBackend", "MINIMAX_M3_SPARSE"},
	{"vllm.v1.attention.backends.no_attention.NoAttentionBackend", "NO_ATTENTION"},
	{"vllm.v1.attention.backends.flex_attention.FlexAttentionBackend", "FLEX_ATTENTION"},
	{"vllm.v1.attention.backends.hpc_attn.HpcAttentionBackend", "HPC_ATTN"},
	{"vllm.v1.attention.backends.rocm_aiter_unified_attn.RocmAiterUnifiedAttentionBackend", "ROCM_AITER_UNIFIED_ATTN"},
	{"vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend", "CPU_ATTN"},
	{"vllm.v1.attention.backends.mla.cpu_mla.CPUMLABackend", "CPU_MLA"},
	{"vllm.v1.attention.backends.mla.amx_mla.AMXMLABackend", "AMX_MLA"},
	{"vllm.v1.attention.backends.turboquant_attn.TurboQuantAttentionBackend", "TURBOQUANT"},
	{"vllm.v1.attention.backends.ultraquant_attn.UltraQuantAttentionBackend", "ULTRAQUANT"},
}
