package migration_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

var (
	configMaps  = sharded("", "v1", "configmaps", "ConfigMap", false)
	secrets     = sharded("", "v1", "secrets", "Secret", false)
	services    = sharded("", "v1", "services", "Service", true)
	deployments = sharded("apps", "v1", "deployments", "Deployment", true)
	jobs        = sharded("batch", "v1", "jobs", "Job", true)
)

const podTemplate = `{metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: i}]}}`

// movedKinds are objects of which everything arrives.
var movedKinds = map[string]struct {
	kind
	text string
}{
	"ConfigMap": {configMaps, `
metadata: {name: x, labels: {a: b}, annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}, finalizers: [example.com/hold]}
data: {k: "<v> & \u2028"}
binaryData: {b: AAEC}`},
	"bare ConfigMap":   {configMaps, `metadata: {name: x}`},
	"longest name":     {configMaps, `{metadata: {name: ` + strings.Repeat("x", 253) + `}, data: {k: v}}`},
	"immutable Secret": {secrets, `{metadata: {name: x}, type: kubernetes.io/basic-auth, immutable: true, data: {username: eA==, password: eA==}}`},
	"Deployment": {deployments, `
metadata: {name: x, annotations: {deployment.kubernetes.io/revision: "3"}}
spec: {replicas: 5, selector: {matchLabels: {app: x}}, template: ` + podTemplate + `}
status: {replicas: 5, readyReplicas: 4, observedGeneration: 1, conditions: [{type: Available, status: "True", lastUpdateTime: "2026-01-01T00:00:00Z", lastTransitionTime: "2026-01-01T00:00:00Z", reason: r, message: m}]}`},
	"StatefulSet": {sharded("apps", "v1", "statefulsets", "StatefulSet", true), `
metadata: {name: x}
spec: {replicas: 2, serviceName: x, selector: {matchLabels: {app: x}}, template: ` + podTemplate + `, volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}
status: {replicas: 2, currentRevision: x-1, updateRevision: x-1}`},
	"DaemonSet": {sharded("apps", "v1", "daemonsets", "DaemonSet", true), `
metadata: {name: x}
spec: {selector: {matchLabels: {app: x}}, template: ` + podTemplate + `}
status: {currentNumberScheduled: 1, desiredNumberScheduled: 3, numberMisscheduled: 0, numberReady: 1}`},
	"CronJob": {sharded("batch", "v1", "cronjobs", "CronJob", true), `
metadata: {name: x}
spec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}
status: {lastScheduleTime: "2026-01-01T00:00:00Z", active: [{kind: Job, name: x-1, namespace: ns, uid: u}]}`},
	"manual Job": {jobs, `
metadata: {name: x}
spec: {manualSelector: true, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}
status: {active: 1, startTime: "2026-01-01T00:00:00Z", ready: 0, uncountedTerminatedPods: {}}`},
	"headless Service": {services, `{metadata: {name: x}, spec: {clusterIP: None, selector: {app: x}, ports: [{port: 80}]}}`},
	"external Service": {services, `{metadata: {name: x}, spec: {type: ExternalName, externalName: example.com}}`},
	"balanced Service": {services, `
metadata: {name: x, finalizers: [service.kubernetes.io/load-balancer-cleanup]}
spec: {type: LoadBalancer, selector: {app: x}, externalTrafficPolicy: Local, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 10.9.8.7}]}}`},
	"claim": {sharded("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true), `
metadata: {name: x, annotations: {pv.kubernetes.io/bind-completed: "yes"}}
spec: {accessModes: [ReadWriteOnce], storageClassName: s, volumeName: pv-1, resources: {requests: {storage: 1Gi}}}
status: {phase: Bound, accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}}`},
	"ReplicationController": {sharded("", "v1", "replicationcontrollers", "ReplicationController", true), `
metadata: {name: x}
spec: {replicas: 2, selector: {app: x}, template: ` + podTemplate + `}
status: {replicas: 2, readyReplicas: 1}`},
	"PodTemplate": {sharded("", "v1", "podtemplates", "PodTemplate", false), `{metadata: {name: x}, template: ` + podTemplate + `}`},
	"autoscaler": {sharded("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true), `
metadata: {name: x}
spec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: x}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}
status: {currentReplicas: 3, desiredReplicas: 4}`},
	"Ingress": {sharded("networking.k8s.io", "v1", "ingresses", "Ingress", true), `
metadata: {name: x}
spec: {rules: [{host: h, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: x, port: {number: 80}}}}]}}]}
status: {loadBalancer: {ingress: [{hostname: h}]}}`},
	"NetworkPolicy": {sharded("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", false), `{metadata: {name: x}, spec: {podSelector: {}, policyTypes: [Ingress]}}`},
	"disruption budget": {sharded("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true), `
metadata: {name: x}
spec: {minAvailable: 50%, selector: {matchLabels: {app: x}}}
status: {currentHealthy: 1, desiredHealthy: 2, disruptionsAllowed: 0, expectedPods: 3, observedGeneration: 1}`},
}

// TestEverythingArrives, managedFields and all; the old object becomes a tombstone, is buried, and comes
// back by the same way.
func TestEverythingArrives(t *testing.T) {
	for name, test := range movedKinds {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			before := b.make(b.old, test.kind, test.text)
			b.move(b.unit(b.found(test.kind, before)), migration.Moved)

			after := b.get(b.new, test.kind, before.GetName())
			if diff := same(before, after); diff != "" {
				t.Errorf("moved (-old +new):\n%s", diff)
			}
			if epoch := after.GetAnnotations()[v1alpha1.AnnotationPlacementEpoch]; epoch != "7" {
				t.Errorf("placement epoch %q", epoch)
			}
			tomb := b.get(b.old, test.kind, before.GetName())
			if b.found(test.kind, tomb).Status != v1alpha1.Migrated || len(tomb.GetFinalizers())+len(tomb.GetOwnerReferences()) > 0 ||
				tomb.GetAnnotations()[v1alpha1.AnnotationMovesTo] != "new" {
				t.Errorf("tombstone: %v", tomb.Object["metadata"])
			}

			// Back over the tombstone.
			unit := b.unit(b.found(test.kind, after))
			unit.From, unit.To = "new", "old"
			b.move(unit, migration.Moved)
			if diff := same(before, b.get(b.old, test.kind, before.GetName())); diff != "" {
				t.Errorf("moved back (-first +last):\n%s", diff)
			}
		})
	}
}

// TestJobGetsASelectorOfItsOwn: that of the old one holds its UID.
func TestJobGetsASelectorOfItsOwn(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, jobs, `
metadata: {name: x}
spec: {completions: 2, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}
status: {succeeded: 1, startTime: "2026-01-01T00:00:00Z", ready: 0, uncountedTerminatedPods: {}}`)
	b.move(b.unit(b.found(jobs, before)), migration.Moved)
	after := b.get(b.new, jobs, "x")
	spec := after.Object["spec"].(map[string]any)
	uid := spec["selector"].(map[string]any)["matchLabels"].(map[string]any)["batch.kubernetes.io/controller-uid"]
	if uid != string(after.GetUID()) {
		t.Errorf("selector for %v, want %v", uid, after.GetUID())
	}
	if diff := cmp.Diff(before.Object["status"], after.Object["status"]); diff != "" {
		t.Errorf("status (-old +new):\n%s", diff)
	}
}

// TestServiceKeepsItsAddressesWhereTheyAreFree, and gets others where they are not.
func TestServiceKeepsItsAddressesWhereTheyAreFree(t *testing.T) {
	for _, takenBy := range []string{"nobody", "another"} {
		t.Run(takenBy, func(t *testing.T) {
			b := newBed(t)
			before := b.make(b.old, services, `{metadata: {name: x}, spec: {type: NodePort, ports: [{port: 80}]}}`)
			if takenBy == "another" {
				other := before.DeepCopy()
				other.SetName("y")
				other.SetResourceVersion("")
				if _, err := b.in(b.new, services).Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			b.move(b.unit(b.found(services, before)), migration.Moved)
			after := b.get(b.new, services, "x")
			if diff := cmp.Diff(before.Object["spec"], after.Object["spec"]); (diff != "") != (takenBy == "another") {
				t.Errorf("spec (-old +new):\n%s", diff)
			}
		})
	}
}

// TestTokenOfAServiceAccountIsMadeAnew by the new cell, which signs with its own key.
func TestTokenOfAServiceAccountIsMadeAnew(t *testing.T) {
	b := newBed(t)
	for _, s := range []side{b.old, b.new} {
		account := sharded("", "v1", "serviceaccounts", "ServiceAccount", false)
		b.make(s, account, `metadata: {name: robot}`)
	}
	b.make(b.old, secrets, `{metadata: {name: x, annotations: {kubernetes.io/service-account.name: robot}}, type: kubernetes.io/service-account-token}`)
	b.awaitData(b.old)
	before := b.get(b.old, secrets, "x")
	b.move(b.unit(b.found(secrets, before)), migration.Moved)
	b.awaitData(b.new)
	after := b.get(b.new, secrets, "x")
	const uid = "kubernetes.io/service-account.uid"
	if after.GetAnnotations()[uid] == before.GetAnnotations()[uid] || cmp.Equal(before.Object["data"], after.Object["data"]) {
		t.Errorf("the token of the old cell: %v", after)
	}
}

// TestAConfigMapCostsFourWrites and no read.
func TestAConfigMapCostsFourWrites(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, configMaps, `{metadata: {name: x}, data: {a: b}}`)
	b.requests.take()
	b.move(b.unit(b.found(configMaps, before)), migration.Moved)
	want := []string{"PATCH old", "POST new", "PUT old", "PUT new"}
	if diff := cmp.Diff(want, b.requests.take()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestACopyThatWasWrittenIsRevealedAllTheSame has somebody whom the fence lets through write the copy when the original
// is a tombstone already: there is only forward then.
func TestACopyThatWasWrittenIsRevealedAllTheSame(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, configMaps, `{metadata: {name: x}, data: {a: b}}`)
	mover := b.mover()
	mover.Step = func(s migration.Step) {
		if s.Name == migration.Flipped {
			b.patch(b.new, configMaps, "x", `{"metadata":{"annotations":{"written":"yes"}}}`)
		}
	}
	if result := mover.Move(t.Context(), b.unit(b.found(configMaps, before))); result.Outcome != migration.Moved {
		t.Fatalf("%+v", result)
	}
	after := b.get(b.new, configMaps, "x")
	if after.GetLabels()[v1alpha1.LabelRebalanceStatus] != "" || after.GetAnnotations()["written"] != "yes" {
		t.Errorf("the copy is %v; want it revealed, with what was written", after)
	}
}
