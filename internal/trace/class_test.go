package trace

import (
	"bytes"
	"strings"
	"testing"
)

func TestClasses(t *testing.T) {
	for name, want := range map[string]Class{
		"void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, cutlass::bfloat16_t>>":     Attention,
		"void cutlass::device_kernel<flash::FlashAttnFwdSm90<...>>":                           Attention,
		"kernel_unified_attention_2d":                                                         Attention,
		"void flashinfer::BatchDecodeWithPagedKVCacheKernel<...>":                             Attention,
		"fmha_cutlassF_bf16_aligned_64x128_rf_sm80":                                           Attention,
		"nvjet_tst_192x192_64x4_2x1_v_bz_coopB_bias_TNN":                                      GEMM,
		"ampere_sgemm_128x64_nn":                                                              GEMM,
		"void gemvx::kernel<int, int, float>":                                                 GEMM,
		"Cijk_Ailk_Bjlk_SB_MT64x16x16_MI16x16x1":                                              GEMM,
		"fused_moe_kernel":                                                                    GEMM,
		"triton_tem_fused_mm_3":                                                               GEMM,
		"ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)":          Communication,
		"void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>":                             Communication,
		"void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<>": Communication,
		"void vllm::rms_norm_kernel<c10::BFloat16>":                                           Other,
		"void vllm::reshape_and_cache_flash_kernel<>":                                         Other,
		"triton_poi_fused_mul_silu_0":                                                         Other,
		"":                                                                                    Other,
	} {
		if got := DefaultClasses().Of([]byte(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestReadClasses(t *testing.T) {
	c, err := ReadClasses(strings.NewReader("# ours\nother flash*CACHE\ngemm\tmy kernel\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Class{"reshape_and_Cache_FLASH": Other, "flash_to_cache": Other, "My Kernel 3": GEMM, "sgemm": GEMM} {
		if got := c.Of([]byte(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// What is written can be read.
	var first, second bytes.Buffer
	if err := c.Write(&first); err != nil {
		t.Fatal(err)
	}
	again, err := parseClasses(&first)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Write(&second); err != nil || len(again.rules) != len(c.rules) {
		t.Errorf("%d rules, %v", len(again.rules), err)
	}
	for text, want := range map[string]string{
		"gemm":            "line 1: a class without a part of a kernel's name",
		"\nattention *":   "line 2: a class without a part of a kernel's name",
		"memory memcpy":   `line 1: class "memory": use attention, gemm, communication or other`,
		"matmul my_gemm":  `line 1: class "matmul": use attention, gemm, communication or other`,
		"gemm x\nother\t": "line 2: a class without a part of a kernel's name",
	} {
		if _, err := ReadClasses(strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
