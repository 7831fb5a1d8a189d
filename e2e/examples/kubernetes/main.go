// Command kubernetes reads manifests as an API server does with strict field validation: unknown
// and duplicate fields, and values of a wrong type, are errors. It also checks that what a pod
// refers to by name is there.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	failed := false
	for _, name := range os.Args[1:] {
		kinds, err := check(name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			failed = true
			continue
		}
		fmt.Printf("%s: %v\n", name, kinds)
	}
	if failed || len(os.Args) == 1 {
		os.Exit(1)
	}
}

// check reads a manifest and returns the kinds of its objects.
func check(name string) (kinds []string, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(batchv1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer documents.Close()
	claims := map[string]bool{}
	var pods []corev1.PodSpec
	for {
		document := make([]byte, len(text)+1)
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		object, kind, err := decoder.Decode(document[:n], nil, nil)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, kind.Kind)
		switch o := object.(type) {
		case *batchv1.Job:
			pods = append(pods, o.Spec.Template.Spec)
		case *corev1.PersistentVolumeClaim:
			claims[o.Name] = true
		}
	}
	for _, pod := range pods {
		if err := checkPod(pod, claims); err != nil {
			return nil, err
		}
	}
	return kinds, nil
}

// checkPod checks names and references of a pod, which decoding does not.
func checkPod(pod corev1.PodSpec, claims map[string]bool) error {
	if pod.RestartPolicy != corev1.RestartPolicyNever && pod.RestartPolicy != corev1.RestartPolicyOnFailure {
		return fmt.Errorf("a Job's pod cannot have the restart policy %q", pod.RestartPolicy)
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if c := v.PersistentVolumeClaim; c != nil && !claims[c.ClaimName] {
			return fmt.Errorf("there is no claim %s", c.ClaimName)
		}
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if problems := validation.IsDNS1123Label(c.Name); len(problems) > 0 {
			return fmt.Errorf("container %q: %v", c.Name, problems)
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				return fmt.Errorf("container %s: there is no volume %s", c.Name, m.Name)
			}
		}
		for name, limit := range c.Resources.Limits {
			if request, found := c.Resources.Requests[name]; found && request.Cmp(limit) > 0 {
				return fmt.Errorf("container %s requests more %s than its limit", c.Name, name)
			}
		}
	}
	return nil
}
