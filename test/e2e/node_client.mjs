// Drives a cluster with @kubernetes/client-node. Prints one JSON object: what it saw. KUBECONFIG and NAMESPACE say
// where; the test that runs it judges.
import * as k8s from '@kubernetes/client-node';

const namespace = process.env.NAMESPACE;
const image = process.env.IMAGE;
const labels = { app: 'by-node' };
const seen = {};

const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);

// Resolves with the events of a watch up to and with the first for which done() is true.
function follow(path, parameters, done) {
    return new Promise((resolve, reject) => {
        const events = [];
        const started = new k8s.Watch(config).watch(path, parameters, (type, object) => {
            events.push({ type, object });
            if (done(type, object)) {
                resolve(events);
                started.then((controller) => controller.abort());
            }
        }, (error) => reject(error || new Error('the watch ended early')));
        started.catch(reject);
    });
}

// The next object called by-node that the informer reports with this verb.
function informed(informer, verb) {
    return new Promise((resolve) => informer.on(verb,
        (object) => object.metadata.name === 'by-node' && resolve(object)));
}

const versions = await config.makeApiClient(k8s.VersionApi).getCode();
seen.minor = versions.minor;
seen.nodes = (await core.listNode()).items.length;

// A ConfigMap: create, informer, patch, replace with a stale version, delete.
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`,
    () => core.listNamespacedConfigMap({ namespace }));
await informer.start();
const added = informed(informer, 'add'), updated = informed(informer, 'update'), deleted = informed(informer, 'delete');
const first = await core.createNamespacedConfigMap({
    namespace, body: { metadata: { name: 'by-node' }, data: { step: 'one' } } });
seen.added = (await added).metadata.name;
const patched = await core.patchNamespacedConfigMap(
    { namespace, name: 'by-node', body: [{ op: 'replace', path: '/data/step', value: 'two' }] },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch));
seen.patched = patched.data.step;
seen.updated = (await updated).data.step;
try {
    await core.replaceNamespacedConfigMap({ namespace, name: 'by-node', body: first });
    seen.stale = 'accepted';
} catch (error) {
    seen.stale = error.code;
}
await core.deleteNamespacedConfigMap({ namespace, name: 'by-node' });
seen.deleted = (await deleted).metadata.name;
await informer.stop();

// A Deployment, followed until it is available, scaled, and deleted in the foreground.
const path = `/apis/apps/v1/namespaces/${namespace}/deployments`;
await apps.createNamespacedDeployment({ namespace, body: {
    metadata: { name: 'by-node' },
    spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{
            name: 'model-server', image, ports: [{ name: 'http', containerPort: 8080 }],
            readinessProbe: { httpGet: { path: '/ready', port: 'http' }, periodSeconds: 1 } }] } } } } });
await follow(path, {}, (type, object) => object.status?.availableReplicas === 1);
const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'by-node' });
scale.spec.replicas = 2;
await apps.replaceNamespacedDeploymentScale({ namespace, name: 'by-node', body: scale });
await follow(path, {}, (type, object) => object.status?.availableReplicas === 2);
seen.pods = (await core.listNamespacedPod({ namespace, labelSelector: 'app=by-node' })).items
    .map((pod) => pod.status.phase);
const pod = (await core.listNamespacedPod({ namespace, labelSelector: 'app=by-node' })).items[0].metadata.name;
seen.log = await core.readNamespacedPodLog({ namespace, name: pod, tailLines: 5 });
await apps.deleteNamespacedDeployment({ namespace, name: 'by-node', propagationPolicy: 'Foreground' });
const end = await follow(path, {}, (type) => type === 'DELETED');
seen.end = end.map((event) => event.type);
seen.left = (await core.listNamespacedPod({ namespace })).items.length;

console.log(JSON.stringify(seen));
process.exit(0);
