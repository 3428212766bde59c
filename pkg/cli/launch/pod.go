package launch

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// stateMount is the one place that a pod can write to. It goes with the pod: a daemon keeps nothing that
	// another one needs.
	stateMount = "/var/lib/kubectl-cell"
	// etcMount holds what it reads.
	etcMount = "/etc/kubectl-cell/"
	// nobody is the user and group of the pods; in an image without users it has to be a number.
	nobody = 65532
	// podGrace in seconds is more than a daemon takes to end.
	podGrace = 100
	// podAddressEnv is where a pod finds its own address.
	podAddressEnv = "POD_IP"
	adminName     = "admin"
)

func (o *deploymentOptions) pod() corev1.PodSpec {
	mounts, volumes := o.storage()
	return corev1.PodSpec{
		ServiceAccountName:            o.name(),
		AutomountServiceAccountToken:  ptr.To(o.rcpSecret == ""),
		TerminationGracePeriodSeconds: ptr.To(int64(podGrace)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(int64(nobody)), RunAsGroup: ptr.To(int64(nobody)), FSGroup: ptr.To(int64(nobody)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: o.selector()},
		}},
		Containers: []corev1.Container{{
			Name: o.program.Name, Image: o.image,
			Command: []string{"kubectl-cell"}, Args: o.arguments(),
			Env: []corev1.EnvVar{{
				Name:      podAddressEnv,
				ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}},
			}},
			Ports:          o.ports(),
			StartupProbe:   o.probe("/livez", 2, 30),
			LivenessProbe:  o.probe("/livez", 10, 6),
			ReadinessProbe: o.probe("/readyz", 5, 2),
			Resources:      o.resources(),
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
			VolumeMounts: mounts,
		}},
		Volumes: volumes,
	}
}

// resources are what --memory allows, and of that an eighth for certain: pods of a large federation come to nodes that
// have room for them.
func (o *deploymentOptions) resources() corev1.ResourceRequirements {
	const part = 8
	request := resource.MustParse(minMemory)
	if share := resource.NewQuantity(o.limit.Value()/part, resource.BinarySI); share.Cmp(request) > 0 {
		request = *share
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: request},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: o.limit},
	}
}

func (o *deploymentOptions) arguments() []string {
	out := []string{
		o.program.Name, "run",
		"--rcp-kubeconfig=" + etcMount + "rcp/" + v1alpha1.KubeconfigKey,
		"--state-dir=" + stateMount + "/" + o.program.Name,
	}
	out = append(out, o.program.Pods.Flags...)
	return append(out, o.extra...)
}

func (o *deploymentOptions) ports() []corev1.ContainerPort {
	pods := o.program.Pods
	out := []corev1.ContainerPort{{Name: adminName, ContainerPort: pods.AdminPort}}
	if pods.Port != pods.AdminPort {
		out = append(out, corev1.ContainerPort{Name: pods.PortName, ContainerPort: pods.Port})
	}
	return out
}

// probe asks the admin port every so many seconds, and gives up after so many failures.
func (o *deploymentOptions) probe(path string, seconds, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString(adminName), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds: seconds, TimeoutSeconds: 2, FailureThreshold: failures,
	}
}

// storage is what is mounted: the way to the router control plane, what the flags name, and room for state.
func (o *deploymentOptions) storage() (mounts []corev1.VolumeMount, volumes []corev1.Volume) {
	add := func(name, path string, readOnly bool, source corev1.VolumeSource) {
		mounts = append(mounts, corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: readOnly})
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: source})
	}
	rcp := configMap(o.name() + "-rcp")
	if o.rcpSecret != "" {
		rcp = secret(o.rcpSecret)
	}
	add("rcp", etcMount+"rcp", true, rcp)
	for i, source := range o.program.Pods.Sources {
		volume := configMap(o.sources[i])
		if source.Secret {
			volume = secret(o.sources[i])
		}
		add(source.Folder, etcMount+source.Folder, true, volume)
	}
	// Where long answers are kept until their length is known.
	add("temporary", "/tmp", false, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("4Gi"))}})
	add("state", stateMount, false, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("64Mi"))}})
	return mounts, volumes
}

func configMap(name string) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}
}

// secret may be read by the group of the pod alone.
func secret(name string) corev1.VolumeSource {
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, DefaultMode: ptr.To(int32(0o440))}}
}

// PodURL is where a pod is reached at a port, for flags of [Pods].
func PodURL(port int) string { return fmt.Sprintf("http://$(%s):%d", podAddressEnv, port) }
