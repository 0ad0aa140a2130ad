//! What the runtimes' own files say of a container: its name above all.
//!
//! Nobody is asked over a socket: a runtime that hangs must not hang the tick, and docker's socket is as good as
//! root. The files are read once in a container's life. They hold secrets of their owners (environment, command
//! lines), so each is cut down to the few fields named here before anything else sees it.
//!
//! | runtime | file | names it |
//! |---|---|---|
//! | docker | `containers/<id>/config.v2.json` | `Name` |
//! | podman, cri-o | `overlay-containers/containers.json`, `volatile-containers.json` | `names` |
//! | containerd | `io.containerd.runtime.v2.task/<namespace>/<id>/config.json` | annotations of CRI and nerdctl |
//!
//! Kubernetes under docker or cri-o puts pod and container into one name: `k8s_<container>_<pod>_<namespace>_…`.

use serde::{Deserialize, Serialize};

use super::files::{Files, Names, Text};

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Card {
    /// Its name, in its pod if it is in one.
    pub(super) name: Option<String>,
    /// The name of its pod.
    pub(super) pod: Option<String>,
    /// Whether it only holds the pod's namespaces.
    pub(super) is_sandbox: bool,
}

const DOCKER: [&str; 2] = ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker"];
const PODMAN: &str = "/var/lib/containers/storage";
const CONTAINERD: [&str; 2] =
    ["/run/containerd/io.containerd.runtime.v2.task", "/run/k3s/containerd/io.containerd.runtime.v2.task"];
const CONTAINERD_NAMESPACES: [&str; 2] = ["k8s.io", "default"];

/// Looks up the container `id` of a runtime. Empty where nothing is readable.
pub(super) fn card(files: &mut dyn Files, brand: &str, id: &str) -> Card {
    let mut text = Text::default();
    let card = match brand {
        "docker" => docker(files, id, &mut text),
        "podman" | "cri-o" => podman(files, id, &mut text),
        "containerd" => containerd(files, id, &mut text),
        _ => None,
    };
    card.unwrap_or_default()
}

fn docker(files: &mut dyn Files, id: &str, text: &mut Text) -> Option<Card> {
    let mut at = |root: &str, files: &mut dyn Files| {
        files.read_part(&format!("{root}/containers/{id}/config.v2.json"), docker_part, text).ok()?;
        let config: Docker = serde_json::from_slice(text).ok()?;
        Some(of_name(config.name?.trim_start_matches('/')))
    };
    DOCKER
        .iter()
        .find_map(|root| at(root, files))
        .or_else(|| homes(files).iter().find_map(|home| at(&format!("{home}/.local/share/docker"), files)))
}

fn podman(files: &mut dyn Files, id: &str, text: &mut Text) -> Option<Card> {
    let mut at = |storage: &str, files: &mut dyn Files| {
        ["containers", "volatile-containers"].iter().find_map(|list| {
            files.read_part(&format!("{storage}/overlay-containers/{list}.json"), podman_part, text).ok()?;
            let containers: Vec<Podman> = serde_json::from_slice(text).ok()?;
            let names = containers.into_iter().find(|c| c.id == id)?.names;
            Some(of_name(names.first()?))
        })
    };
    at(PODMAN, files)
        .or_else(|| homes(files).iter().find_map(|home| at(&format!("{home}/.local/share/containers/storage"), files)))
}

fn containerd(files: &mut dyn Files, id: &str, text: &mut Text) -> Option<Card> {
    let places = CONTAINERD.iter().flat_map(|root| CONTAINERD_NAMESPACES.map(|namespace| (root, namespace)));
    places.map(|(root, namespace)| format!("{root}/{namespace}/{id}/config.json")).find_map(|path| {
        files.read_part(&path, containerd_part, text).ok()?;
        let bundle: Bundle = serde_json::from_slice(text).ok()?;
        Some(of_annotations(bundle.annotations))
    })
}

/// Where users' own runtimes may keep their files.
fn homes(files: &mut dyn Files) -> Vec<String> {
    let mut names = Names::default();
    if files.list("/home", &mut names).is_err() {
        return Vec::new();
    }
    names.directories().map(|name| format!("/home/{name}")).collect()
}

/// A container by the name its runtime gave it.
fn of_name(name: &str) -> Card {
    let mut parts = name.splitn(4, '_');
    if parts.next() == Some("k8s")
        && let (Some(container), Some(pod), Some(_)) = (parts.next(), parts.next(), parts.next())
    {
        return Card { name: Some(container.to_owned()), pod: Some(pod.to_owned()), is_sandbox: container == "POD" };
    }
    Card { name: (!name.is_empty()).then(|| name.to_owned()), ..Card::default() }
}

fn of_annotations(annotations: Annotations) -> Card {
    Card {
        is_sandbox: annotations.kind.as_deref() == Some("sandbox"),
        name: annotations.container.or(annotations.nerdctl),
        pod: annotations.pod,
    }
}

#[derive(Deserialize, Serialize)]
struct Docker {
    #[serde(rename = "Name", skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Podman {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct Bundle {
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize, Serialize, Default)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.container-type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(rename = "io.kubernetes.cri.container-name", skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-name", skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(rename = "nerdctl/name", skip_serializing_if = "Option::is_none")]
    nerdctl: Option<String>,
}

/// The fields named in `T`, as JSON again; nothing where they cannot be read.
fn part<T: for<'de> Deserialize<'de> + Serialize>(text: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<T>(text).ok().and_then(|fields| serde_json::to_vec(&fields).ok()).unwrap_or_default()
}

fn docker_part(text: &[u8]) -> Vec<u8> {
    part::<Docker>(text)
}

fn podman_part(text: &[u8]) -> Vec<u8> {
    part::<Vec<Podman>>(text)
}

fn containerd_part(text: &[u8]) -> Vec<u8> {
    part::<Bundle>(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_names_are_taken_apart() {
        let card = of_name("k8s_app_web-0_default_1b2c_3");
        assert_eq!((card.name.as_deref(), card.pod.as_deref(), card.is_sandbox), (Some("app"), Some("web-0"), false));
        assert!(of_name("k8s_POD_web-0_default_1b2c_3").is_sandbox);
        assert_eq!(of_name("k8s_helper").name.as_deref(), Some("k8s_helper"));
        assert_eq!(of_name("happy_turing").name.as_deref(), Some("happy_turing"));
    }

    #[test]
    fn secrets_do_not_get_past_the_reading() {
        let config = br#"{"State":{"Pid":7},"Config":{"Env":["PASSWORD=secret"]},"Name":"/web"}"#;
        let kept = docker_part(config);
        assert_eq!(kept, br#"{"Name":"/web"}"#);
        assert_eq!(docker_part(&kept), kept, "the part of a part is that part");
        let bundle = br#"{"process":{"env":["TOKEN=x"]},"annotations":{"nerdctl/name":"web","other":"y"}}"#;
        assert_eq!(containerd_part(bundle), br#"{"annotations":{"nerdctl/name":"web"}}"#);
        assert_eq!(
            podman_part(br#"[{"id":"a","names":["web"],"metadata":"secret"}]"#),
            br#"[{"id":"a","names":["web"]}]"#
        );
        assert_eq!(docker_part(b"{broken"), b"");
    }
}
