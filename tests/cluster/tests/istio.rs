//! The objects of examples/istio and what `byname compile` prints, in a mesh of the real istiod and pilot-agent with the Envoy and
//! the module of the other tests.
//!
//! One cluster serves all claims, in this order; `BYNAME_CLAIMS=word,word` runs those whose names contain one of the
//! words.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod istio {
    pub(crate) mod ask;
    pub(crate) mod control_plane;
    pub(crate) mod failures;
    pub(crate) mod gateways;
    pub(crate) mod memory;
    pub(crate) mod mesh;
    pub(crate) mod names;
    pub(crate) mod objects;
    pub(crate) mod percentiles;
    pub(crate) mod protocols;
    pub(crate) mod readme;
    pub(crate) mod security;
    pub(crate) mod stream;
    pub(crate) mod stream_failures;
    pub(crate) mod stream_sizes;
    pub(crate) mod whole_mesh;
}

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use anyhow::Result;
use byname_cluster::{Cluster, ClusterOptions};

use crate::istio::{
    ask::*,
    control_plane::*,
    failures::*,
    gateways::*,
    memory::*,
    mesh::{Mesh, shop},
    names::*,
    objects::*,
    protocols::*,
    readme::*,
    security::*,
    stream::*,
    stream_failures::*,
    stream_sizes::*,
    whole_mesh::*,
};

macro_rules! claims {
    ($($claim:ident,)*) => { [$((stringify!($claim), $claim as fn(&Mesh<'_>) -> Result<()>),)*] };
}

#[test]
fn byname_works_in_istio() -> Result<()> {
    let claims = claims![
        names_reach_their_services_through_a_wasm_plugin,
        names_reach_their_services_through_a_traffic_extension,
        the_sidecar_shows_the_metrics_of_the_module,
        names_reach_their_services_by_clusters,
        no_client_steers_by_the_control_header,
        watch_steers_to_endpoints,
        the_commands_for_authority_work,
        the_commands_for_cluster_header_work,
        the_commands_of_the_projects_readme_work,
        the_commands_for_adoption_work,
        another_image_denies_all_requests,
        an_image_that_cannot_be_pulled_denies_all_requests,
        the_agent_asks_the_registry_again_only_if_the_policy_says_so,
        the_module_comes_from_a_web_server,
        a_refused_table_keeps_the_last_good_one_in_running_pods,
        a_bad_service_is_left_out_in_new_pods_alone,
        a_refused_table_holds_up_listeners_of_new_ports,
        pushes_under_load_fail_no_request,
        virtual_services_apply_to_short_names_and_aliases,
        virtual_services_are_passed_by_with_clusters,
        consistent_hashing_applies_with_authority_alone,
        tls_of_a_destination_rule_applies,
        an_alias_leads_out_over_tls,
        unknown_names_go_where_the_sidecar_object_says,
        names_of_hidden_namespaces_have_no_cluster,
        strict_mtls_holds_between_sidecars,
        strict_mtls_refuses_steering_to_endpoints,
        authorization_policies_see_the_resolved_name,
        a_gateway_passes_every_request_on,
        a_gateway_resolves_names_if_the_object_says_so,
        a_server_believes_the_sidecar_beside_it_alone,
        a_neighbours_stream_shows_nothing_of_hidden_services,
        clients_speak_http2_grpc_and_websocket,
        a_host_without_a_port_means_the_port_of_the_connection,
        a_forwarded_scheme_does_not_choose_the_port,
        a_sidecar_opens_no_tunnel,
        one_object_serves_pods_of_every_namespace,
        a_selector_keeps_the_filter_to_its_pods,
        a_deployed_object_has_no_difference_from_its_cluster,
        a_packed_table_takes_less_memory_than_a_plain_one,
        a_sidecar_says_what_it_holds,
        the_commands_for_stream_work,
        a_pod_reaches_every_kind_of_name_over_a_stream,
        a_stream_resolves_by_the_search_domains_of_its_pod,
        a_stream_reaches_the_endpoints_of_sidecars_that_take_plaintext,
        a_traffic_extension_opens_a_stream,
        a_sidecar_tells_of_its_stream,
        a_stream_shows_a_pod_what_its_identity_may_see,
        a_sidecar_object_that_hides_the_server_of_a_stream_lets_names_pass,
        a_stream_outlives_its_server_under_load,
        a_crash_strands_requests_that_wait_over_a_stream_and_no_others,
        no_request_fails_over_a_stream_while_services_change,
        a_scaled_deployment_is_soon_seen_over_a_stream,
        a_stream_takes_little_more_memory_than_an_empty_table,
    ];
    let wanted = env::var("BYNAME_CLAIMS").unwrap_or_default();
    let start = Instant::now();
    let cluster = Cluster::start(ClusterOptions { serves: true })?;
    cluster.apply(&shop()?)?;
    let mesh = Mesh::start(&cluster)?;
    println!("the mesh is ready after {:.1} s", start.elapsed().as_secs_f32());
    let mut failed = Vec::new();
    let is_wanted = |name: &str| wanted.split(',').any(|word| name.contains(word));
    for (name, claim) in claims.into_iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| claim(&mesh)));
        let elapsed = start.elapsed().as_secs_f32();
        if matches!(result, Ok(Ok(()))) {
            println!("{name}: ok, {elapsed:.1} s");
            continue;
        }
        // A panic has printed its own message.
        let error =
            result.map_or_else(|_| "it panics".to_owned(), |result| format!("{:#}", result.expect_err("it failed")));
        println!("{name}: FAILED after {elapsed:.1} s: {error}\n{}", mesh.tails());
        failed.push(format!("{name}: {error}"));
    }
    println!("all claims took {:.1} s", start.elapsed().as_secs_f32());
    // The errors come last, where people look.
    assert!(failed.is_empty(), "{}\n{}", cluster.tails(), failed.join("\n"));
    Ok(())
}
