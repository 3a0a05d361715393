//! Who may open a stream: certificates, tokens and the header of a sidecar, and how each could be forged.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use byname_test_support::{
    free_port,
    kubernetes::KubernetesApi,
    tls::{TestCa, TestCertificate},
};
use envoy_types::pb::envoy::config::core::v3::Node;
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use tonic::Code;

use crate::{
    client::{Dial, XdsClient, node, text},
    clocks::Clocks,
    program::{ServeProcess, eventually, service},
};

pub(crate) const XFCC: &str = "x-forwarded-client-cert";

pub(crate) fn spiffe(namespace: &str) -> String {
    format!("spiffe://cluster.local/ns/{namespace}/sa/web")
}

fn of(namespace: &str) -> Node {
    node("envoy-0", &[("NAMESPACE", namespace)])
}

/// Opens a stream and takes its first message.
pub(crate) async fn first(port: u16, node: Node, dial: &Dial) -> Result<String, (Code, String)> {
    let answer = async {
        let mut client = XdsClient::open_with(port, node, dial).await?;
        client.take().await
    };
    let message = answer.await.map_err(|status| (status.code(), status.message().to_owned()))?;
    Ok(text(&message.resources[0]))
}

/// A directory with the files of a server, as Kubernetes mounts a Secret: through a symbolic link that is replaced.
pub(crate) struct Secret(TempDir);

impl Secret {
    pub(crate) fn new(server: &TestCertificate, client_ca: &str) -> Self {
        let secret = Self(tempfile::tempdir().unwrap());
        secret.replace(server, client_ca, 1);
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::os::unix::fs::symlink(Path::new("..data").join(file), secret.0.path().join(file)).unwrap();
        }
        secret
    }

    pub(crate) fn replace(&self, server: &TestCertificate, client_ca: &str, version: u32) {
        let directory = self.0.path().join(format!("..{version}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("tls.crt"), &server.certificate).unwrap();
        fs::write(directory.join("tls.key"), &server.key).unwrap();
        fs::write(directory.join("ca.crt"), client_ca).unwrap();
        let next = self.0.path().join("..data_tmp");
        std::os::unix::fs::symlink(&directory, &next).unwrap();
        fs::rename(next, self.0.path().join("..data")).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn arguments(&self, more: &[&str]) -> Vec<String> {
        let file = |name: &str| self.0.path().join(name).display().to_string();
        let own = ["--tls-cert-file".to_owned(), file("tls.crt"), "--tls-private-key-file".to_owned(), file("tls.key")];
        own.into_iter().chain(more.iter().map(|text| text.replace("CA", &file("ca.crt")))).collect()
    }
}

pub(crate) async fn start(arguments: &[String]) -> ServeProcess {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ServeProcess::start_with_arguments(&[service("shop/web"), service("prod/secret")], &arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_of_which_namespace_a_client_is() {
    let (ca, other_ca) = (TestCa::new(), TestCa::new());
    let secret = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let arguments = ["--identity", "certificate", "--client-ca-file", "CA", "--default-export", "."];
    let program = start(&secret.arguments(&arguments)).await;
    let shows = |certificate: Option<&TestCertificate>| Dial { tls: Some(ca.client(certificate)), ..Dial::default() };
    let with = |uris: &[&str]| shows(Some(&ca.issue(&[], uris)));
    assert!(first(program.port, of("shop"), &with(&[&spiffe("shop")])).await.unwrap().contains("shop/web"));
    // The certificate says enough, and the name of another's node says nothing.
    for (uri, sees, is_hidden) in [("shop", "shop/web", "prod/secret"), ("prod", "prod/secret", "shop/web")] {
        let told = first(program.port, node("someone-elses-pod", &[]), &with(&[&spiffe(uri)])).await.unwrap();
        assert!(told.contains(sees) && !told.contains(is_hidden), "{uri}: {told}");
    }
    let mut open = XdsClient::open_with(program.port, of("shop"), &with(&[&spiffe("shop")])).await.unwrap();
    open.take().await.unwrap();
    let streams = program.get("/debug/streams").await.body;
    assert!(streams.contains("namespace=shop\tservice_account=web"), "{streams}");
    let (code, why) = first(program.port, of("prod"), &with(&[&spiffe("shop")])).await.unwrap_err();
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(
        why,
        "node envoy-0: its metadata has the NAMESPACE prod, but the client is service account web of namespace shop; write the bootstrap with \
         --namespace shop"
    );
    for (dial, wanted) in [
        (shows(None), "the client has not said who it is: send a client certificate with a SPIFFE id"),
        (with(&[]), "it has no URI; use one whose only URI is spiffe://cluster.local/ns/NAMESPACE/sa/SERVICE_ACCOUNT"),
        (with(&[&spiffe("shop"), &spiffe("shop")]), "it has several URIs"),
        (with(&["spiffe://other/ns/shop/sa/web"]), "is of another trust domain than cluster.local"),
        (with(&["https://cluster.local/ns/shop/sa/web"]), "is not of the form"),
    ] {
        // What a client sends beside its certificate changes nothing.
        let dial = Dial { headers: vec![(XFCC, format!("URI={}", spiffe("shop")))], ..dial };
        let (code, why) = first(program.port, of("shop"), &dial).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated, "{why}");
        assert!(why.contains(wanted), "{why}");
    }
    // A CA that the server does not trust, and no TLS at all.
    let stranger = Dial { tls: Some(ca.client(Some(&other_ca.issue(&[], &[&spiffe("shop")])))), ..Dial::default() };
    for dial in [stranger, Dial::default()] {
        assert!(first(program.port, of("shop"), &dial).await.is_err());
    }
    assert_eq!(program.metric("callers_refused_total{reason=\"other_namespace\"}").await, 1.0);
    assert!(program.metric("callers_refused_total{reason=\"unauthenticated\"}").await >= 6.0);
    program.wait_for_log("warning: refused 127.0.0.1:").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_again_when_they_change() {
    let (ca, new_ca) = (TestCa::new(), TestCa::new());
    let secret = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let program = start(&secret.arguments(&["--identity", "certificate", "--client-ca-file", "CA"])).await;
    let dial = |ca: &TestCa| Dial { tls: Some(ca.client(Some(&ca.issue(&[], &[&spiffe("shop")])))), ..Dial::default() };
    let (old, new) = (dial(&ca), dial(&new_ca));
    let mut open = XdsClient::open_with(program.port, of("shop"), &old).await.unwrap();
    open.take().await.unwrap();
    assert!(first(program.port, of("shop"), &new).await.is_err());
    // Files that cannot be used change nothing.
    secret.replace(&TestCertificate { key: "no key".to_owned(), ..ca.issue(&["localhost"], &[]) }, &ca.pem(), 2);
    program.wait_for_log("tls.key: is not a PEM file with a private key").await;
    program.wait_for_log("the server goes on with the certificates that it read before").await;
    assert!(first(program.port, of("shop"), &old).await.is_ok());
    secret.replace(&new_ca.issue(&["localhost"], &[]), &new_ca.pem(), 3);
    eventually("the new ones count", async || first(program.port, of("shop"), &new).await.is_ok()).await;
    assert!(first(program.port, of("shop"), &old).await.is_err());
    program.wait_for_log("the certificate files changed").await;
    // A stream that is open stays. No other is opened by a certificate that counts no longer.
    assert!(open.open_another().await.is_err());
    program.write(&[service("shop/web"), service("shop/more")]);
    assert!(text(&open.take().await.unwrap().resources[0]).contains("shop/more"));
}

/// Opens a stream by a proof that runs out at `end`, and waits for the end of the stream. Returns the client and the server's reason.
async fn outlive(port: u16, dial: &Dial, end: SystemTime) -> (XdsClient, String) {
    let mut client = XdsClient::open_with(port, of("shop"), dial).await.unwrap();
    client.take().await.unwrap();
    let status = client.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let late = SystemTime::now().duration_since(end).expect("not before its time");
    assert!(late < Duration::from_secs(5), "{late:?} late");
    (client, status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let ca = TestCa::new();
    let secret = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let program = start(&secret.arguments(&["--identity", "certificate", "--client-ca-file", "CA"])).await;
    let dial = |certificate: &TestCertificate| Dial { tls: Some(ca.client(Some(certificate))), ..Dial::default() };
    let lasting = dial(&ca.issue(&[], &[&spiffe("shop")]));
    let mut other = XdsClient::open_with(program.port, of("shop"), &lasting).await.unwrap();
    other.take().await.unwrap();
    // A certificate ends with a second.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(now + 4);
    let (client, why) = outlive(program.port, &dial(&ca.issue_until(end, &[&spiffe("shop")])), end).await;
    assert_eq!(why, "the client certificate has expired; connect again with the new one");
    assert!(client.open_another().await.is_err(), "the connection has the same certificate");
    assert_eq!(program.metric("streams_closed_total{reason=\"proof_expired\"}").await, 1.0);
    program.write(&[service("shop/web"), service("shop/more")]);
    assert!(text(&other.take().await.unwrap().resources[0]).contains("shop/more"), "others are not concerned");
}

/// A token as the API issues it, but for its signature.
pub(crate) fn token(namespace: &str, audience: &str, seconds: i64, more: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let claims = json!({"aud": [audience], "exp": now + seconds, "sub": user(namespace), "more": more});
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

pub(crate) fn user(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:web")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_of_which_namespace_a_client_is() {
    let mut api = KubernetesApi::start().await.unwrap();
    api.put(service("shop/web"));
    api.put(service("prod/secret"));
    let ca = TestCa::new();
    let secret = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = ["--kubeconfig".to_owned(), api.kubeconfig(directory.path()).display().to_string()];
    let mut program = ServeProcess::new(
        directory,
        [&kubeconfig[..], &secret.arguments(&["--identity", "token", "--default-export", "."])].concat(),
    );
    program.restart().await;
    let clocks = Clocks::of(&mut program).await;
    let tls = ca.client(None);
    let with =
        |header: String| Dial { tls: Some(tls.clone()), headers: vec![("authorization", header)], ..Dial::default() };
    let bearer = |token: &str| with(format!("Bearer {token}"));
    let reviews = || api.count(&["tokenreviews"]);
    let real = token("shop", "byname", 3_600, "");
    api.put_token(&real, &user("shop"), "byname");
    for _ in 0..3 {
        assert!(first(program.port, of("shop"), &bearer(&real)).await.unwrap().contains("shop/web"));
    }
    assert_eq!(reviews(), 1, "the API is asked once");
    let told = first(program.port, node("someone-elses-pod", &[]), &bearer(&real)).await.unwrap();
    assert!(told.contains("shop/web") && !told.contains("prod/secret"), "{told}");
    assert_eq!(first(program.port, of("prod"), &bearer(&real)).await.unwrap_err().0, Code::PermissionDenied);
    // So it is for all workers of a pod that starts, and pods of one address do not shut each other out.
    let of_pod = token("shop", "byname", 3_600, "of a pod");
    let of_pods: Vec<String> = (0..20).map(|pod| token("shop", "byname", 3_600, &format!("of pod {pod}"))).collect();
    for all in [vec![of_pod; 20], of_pods] {
        let before = reviews();
        all.iter().for_each(|token| api.put_token(token, &user("shop"), "byname"));
        let dials: Vec<Dial> = all.iter().map(|token| bearer(token)).collect();
        for said in join_all(dials.iter().map(|dial| first(program.port, of("shop"), dial))).await {
            assert!(said.unwrap().contains("shop/web"));
        }
        let different = all.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(reviews() - before, different);
    }
    // A stream ends with its token.
    let end = SystemTime::now() + Duration::from_secs(3);
    let short = token("shop", "byname", 3, "short");
    api.put_token(&short, &user("shop"), "byname");
    let (_, why) = outlive(program.port, &bearer(&short), end - Duration::from_secs(1)).await;
    assert_eq!(why, "the token has expired; connect again with the new one");
    let reviews_before = reviews();
    // What the API need not be asked about.
    for (dial, wanted) in [
        (
            Dial { tls: Some(tls.clone()), ..Dial::default() },
            "send a service account token in the header authorization",
        ),
        (with(format!("Basic {real}")), "send it once, as `Bearer TOKEN`"),
        (bearer("secret"), "it is not a JSON Web Token"),
        (bearer(&token("shop", "vault", 3_600, "")), "it is not for the audience byname"),
        (bearer(&token("shop", "byname", -1, "")), "it has expired"),
        (bearer("e30.e30.c2ln"), "its payload has no sub and exp"),
    ] {
        let (code, why) = first(program.port, of("shop"), &dial).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated, "{why}");
        assert!(why.contains(wanted), "{why}");
    }
    assert_eq!(reviews(), reviews_before);
    // The API's word counts, not the token's.
    let stolen = token("prod", "byname", 3_600, "of another");
    api.put_token(&stolen, &user("shop"), "byname");
    assert_eq!(first(program.port, of("prod"), &bearer(&stolen)).await.unwrap_err().0, Code::PermissionDenied);
    let admin = token("shop", "byname", 3_600, "admin");
    api.put_token(&admin, "admin", "byname");
    assert!(first(program.port, of("shop"), &bearer(&admin)).await.unwrap_err().1.contains("not to a service account"));
    // A flood of wrong tokens does not reach the API.
    let before = reviews();
    for number in 0..40 {
        let forged = token("shop", "byname", 3_600, &number.to_string());
        let (code, _) = first(program.port, of("shop"), &bearer(&forged)).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated);
        let again = first(program.port, of("shop"), &bearer(&forged)).await.unwrap_err();
        assert_eq!(again.0, Code::Unauthenticated);
    }
    assert!(reviews() - before <= 5, "{}", reviews() - before);
    assert!(first(program.port, of("shop"), &bearer(&real)).await.is_ok(), "who is known is not concerned");
    // From another address.
    let elsewhere = |token: &str| Dial { from: Some([127, 0, 0, 9].into()), ..bearer(token) };
    let late = token("shop", "byname", 3_600, "late");
    api.put_token(&late, &user("shop"), "byname");
    api.fail("tokenreviews", &[500]);
    let (code, why) = first(program.port, of("shop"), &elsewhere(&late)).await.unwrap_err();
    assert_eq!((code, why.contains("cannot be verified now")), (Code::Unavailable, true), "{why}");
    api.fail("tokenreviews", &[403]);
    let (code, why) = first(program.port, of("shop"), &elsewhere(&late)).await.unwrap_err();
    assert_eq!(code, Code::Unavailable);
    assert!(why.contains("grant \"create\" on tokenreviews.authentication.k8s.io"), "{why}");
    api.stop();
    assert_eq!(first(program.port, of("shop"), &elsewhere(&late)).await.unwrap_err().0, Code::Unavailable);
    assert!(first(program.port, of("shop"), &bearer(&real)).await.is_ok(), "who is known stays");
    api.listen().await.unwrap();
    eventually("the new one is verified", async || first(program.port, of("shop"), &elsewhere(&late)).await.is_ok())
        .await;
    // The token of a pod that was deleted counts for ten minutes more.
    api.forget_token(&real);
    clocks.set(0, 500);
    assert!(first(program.port, of("shop"), &bearer(&real)).await.is_ok());
    clocks.set(0, 1_200);
    assert_eq!(first(program.port, of("shop"), &bearer(&real)).await.unwrap_err().0, Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecars_header_counts_from_the_sidecar_alone() {
    let mesh = free_port().unwrap();
    let arguments = ["--identity", "xfcc", "--xfcc-listen", &format!("127.0.0.1:{mesh}")].map(str::to_owned);
    let program = start(&arguments).await;
    let dial = |lines: &[&str]| Dial {
        from: Some([127, 0, 0, 6].into()),
        headers: lines.iter().map(|line| (XFCC, (*line).to_owned())).collect(),
        ..Dial::default()
    };
    let own = format!("By=spiffe://cluster.local/ns/byname/sa/serve;Hash=ab;Subject=\"\";URI={}", spiffe("shop"));
    let forged = format!("By=spiffe://cluster.local/ns/byname/sa/serve;Hash=ab;Subject=\"\";URI={}", spiffe("prod"));
    // The sidecar has appended its own element to what the client sent.
    for lines in [
        &[&*own][..],
        &[&*format!("{forged},{own}")],
        &[&forged, &own],
        &[&forged, &format!("{forged},{forged},{own}")],
        &[&*format!("Subject=\"a,b;URI={}\\\"\",{own}", spiffe("prod"))],
    ] {
        assert!(first(mesh, of("shop"), &dial(lines)).await.is_ok(), "{lines:?}");
        assert_eq!(first(mesh, of("prod"), &dial(lines)).await.unwrap_err().0, Code::PermissionDenied, "{lines:?}");
    }
    for (lines, wanted) in [
        (&[][..], "it is missing"),
        (&[""], "it is missing"),
        (&[&*format!("{forged};URI={}", spiffe("shop"))], "several URIs"),
        (&["By=x;URI=spiffe://other/ns/prod/sa/web"], "another trust domain"),
        (&[&*format!("Subject=\",{own}")], "in it"),
        (&[&*format!("{forged},By=x;Hash=ab")], "no URI"),
        (&[&own, "By=x"], "no URI"),
    ] {
        let (code, why) = first(mesh, of("prod"), &dial(lines)).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated, "{lines:?}: {why}");
        assert!(why.contains(wanted) || why.contains("has no \"=\""), "{lines:?}: {why}");
    }
    // A port-forward, and another container of the pod.
    for from in [[127, 0, 0, 1], [127, 0, 0, 7]] {
        let dial = Dial { from: Some(from.into()), ..dial(&[&own]) };
        assert!(first(mesh, of("shop"), &dial).await.is_err(), "{from:?}");
    }
    // Nothing else listens.
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", program.port)).await.is_err());
}

#[test]
fn says_which_options_belong_together() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file").display().to_string();
    fs::write(&file, "").unwrap();
    let tls = ["--tls-cert-file", &file, "--tls-private-key-file", &file];
    for (arguments, wanted) in [
        (
            &["--identity", "certificate"][..],
            "--identity certificate: needs TLS; add --tls-cert-file and --tls-private-key-file",
        ),
        (&[&["--identity", "certificate"][..], &tls].concat(), "add --client-ca-file"),
        (&[&["--identity", "token"][..], &tls].concat(), "--from-dir takes its place"),
        (
            &[&["--identity", "xfcc"][..], &tls].concat(),
            "--tls-cert-file: has no effect without --identity certificate or token",
        ),
        (&["--identity", "xfcc", "--listen", "127.0.0.1:0"], "--listen: has no effect with --identity xfcc alone; use"),
        (&["--identity", "xfcc", "--token-audience", "x"], "--token-audience: has no effect without --identity token"),
        (&["--identity", "token", "--token-audience", ""], "a value is required for '--token-audience"),
        (
            &["--identity", "token", "--trust-domain", "x"],
            "--trust-domain: has no effect without --identity certificate",
        ),
        (&["--identity", "token", "--xfcc-listen", ":1"], "--xfcc-listen: has no effect without --identity xfcc"),
        (&["--identity", "xfcc", "--trust-domain", "A B"], "use only the name"),
        (&[&["--insecure"][..], &tls].concat(), "--tls-cert-file: has no effect with --insecure; remove it, or pass"),
        (&["--insecure", "--client-ca-file", &file], "--client-ca-file: has no effect with --insecure"),
        (&["--insecure", "--xfcc-listen", ":1"], "--xfcc-listen: has no effect with --insecure"),
        (&[], "--identity is missing: pass --identity certificate, token or xfcc"),
        (&["--identity", "xfcc", "--trust-domain", "spiffe://a"], "use only the name"),
        (&["--identity", "xfcc", "--insecure"], "cannot be used with"),
        (
            &[&["--identity", "certificate", "--client-ca-file", &file][..], &tls].concat(),
            "is not a PEM file of certificates",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_byname"))
            .args(["serve", "--from-dir", directory.path().to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}
